"""Baselines of images. Four eyes are the database's own law (as approvals' migration 0002 says it): a baseline is
locked by an approved request of its own, and a locked one grows by nothing but what was approved.

Django rebuilds a SQLite table to alter it and drops its triggers with it: a later migration that alters one of these
tables removes these laws first and lays them down again afterwards.
"""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


APPROVED = (
    "EXISTS (SELECT 1 FROM runtime_baselinechange c JOIN approvals_approvalrequest r ON r.id = c.request_id"
    " WHERE c.baseline_id = {baseline} AND c.what = '{what}' AND c.ended_at IS NULL AND r.status = 'approved'{and_})"
)
LOCKED = "EXISTS (SELECT 1 FROM runtime_baseline b WHERE b.id = NEW.baseline_id AND b.status = 'locked')"
# (name, table, event, condition that is refused, what to say). NEW and OLD mean the same on both databases.
LAWS = [
    ("runtime_baseline_begins_unlocked", "runtime_baseline", "INSERT", "NEW.status = 'locked'",
     "a baseline is locked by an approved request, not when it is made"),
    ("runtime_baseline_needs_approval", "runtime_baseline", "UPDATE",
     "NEW.status = 'locked' AND OLD.status <> 'locked' AND NOT "
     + APPROVED.format(baseline="NEW.id", what="lock", and_=" AND c.id = NEW.locked_by_id"),
     "a baseline is locked by an approved request of its own"),
    ("runtime_item_joins_by_approval", "runtime_baselineitem", "INSERT",
     f"{LOCKED} AND (NEW.origin <> 'expected' OR NOT "
     + APPROVED.format(baseline="NEW.baseline_id", what="join", and_="") + ")",
     "a locked baseline grows by what was approved alone"),
]


def lay_down(apps, schema_editor):
    for law in LAWS:
        for statement in STATEMENTS[schema_editor.connection.vendor](*law):
            schema_editor.execute(statement)


def lift(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for name, table, *_ in reversed(LAWS):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if postgresql else ""))
        if postgresql:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def sqlite(name, table, event, condition, message):
    yield (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
    )


def postgresql(name, table, event, condition, message):
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {condition} THEN"
        f" RAISE EXCEPTION '{name}: {message}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    yield f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"


STATEMENTS = {"sqlite": sqlite, "postgresql": postgresql}


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0006_application_impact'),
        ('approvals', '0005_seat_laws'),
        ('images', '0006_stream_of_a_module'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Baseline',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('learning', 'learning'), ('proposed', 'proposed'), ('asked', 'asked'), ('locked', 'locked')], default='learning', max_length=10)),
                ('learning_since', models.DateTimeField()),
                ('learned_until', models.DateTimeField(blank=True, help_text='when it was proposed', null=True)),
                ('locked_at', models.DateTimeField(blank=True, null=True)),
                ('events', models.PositiveBigIntegerField(default=0, help_text='that it was learned from')),
                ('replicas', models.JSONField(default=list, help_text='names of the first pods or containers, sorted')),
                ('varied', models.JSONField(default=list, help_text='kinds of which too many are seen to tell them by name')),
                ('counts', models.JSONField(default=dict, help_text='{kind: items}')),
                ('last_at', models.DateTimeField(blank=True, help_text='when something was last seen', null=True)),
                ('outside', models.PositiveBigIntegerField(default=0, help_text='events that were outside of it')),
                ('before', models.ForeignKey(blank=True, help_text='the locked baseline of an earlier image that this one began from', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='next_ones', to='runtime.baseline')),
                ('image', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='baseline', to='images.image')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='BaselineChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('what', models.CharField(choices=[('lock', 'lock'), ('join', 'join')], max_length=4)),
                ('items', models.JSONField(default=list, help_text='what is to join: [[kind, name, how, port]]')),
                ('reason', models.TextField()),
                ('asked_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(blank=True, help_text='withdrawn, or carried out, or refused', null=True)),
                ('asked_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('baseline', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='changes', to='runtime.baseline')),
                ('request', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='baseline_change', to='approvals.approvalrequest')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='baseline',
            name='locked_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runtime.baselinechange'),
        ),
        migrations.CreateModel(
            name='BaselineDeviation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('process', 'process'), ('file', 'file'), ('connection', 'connection'), ('syscall', 'syscall')], max_length=10)),
                ('name', models.CharField(max_length=300)),
                ('how', models.CharField(blank=True, max_length=300)),
                ('port', models.IntegerField(default=-1)),
                ('deviation', models.CharField(choices=[('name', 'name'), ('rate', 'rate'), ('volume', 'volume')], max_length=6)),
                ('workload_id', models.BigIntegerField(blank=True, help_text='where it was seen last', null=True)),
                ('reason', models.CharField(max_length=1000)),
                ('is_new', models.BooleanField(default=False, help_text='new in this version, and learned since')),
                ('count', models.PositiveBigIntegerField(default=1)),
                ('first_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('baseline', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deviations', to='runtime.baseline')),
                ('team', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='accounts.team')),
            ],
            options={
                'ordering': ['-last_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='BaselineItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('process', 'process'), ('file', 'file'), ('connection', 'connection'), ('syscall', 'syscall')], max_length=10)),
                ('name', models.CharField(max_length=300)),
                ('how', models.CharField(blank=True, max_length=300)),
                ('port', models.IntegerField(default=-1, help_text='-1: not told')),
                ('short', models.CharField(blank=True, help_text="a program's name without its path", max_length=300)),
                ('origin', models.CharField(choices=[('observed', 'Observed'), ('carried', 'Carried'), ('expected', 'Expected')], default='observed', max_length=8)),
                ('is_common', models.BooleanField(default=False, help_text='workloads of several teams do it')),
                ('count', models.PositiveBigIntegerField(default=0, help_text='of this image; 0: carried, and not seen yet')),
                ('severity', models.SmallIntegerField(default=0, help_text='the worst that a sensor rated it')),
                ('first_at', models.DateTimeField(blank=True, null=True)),
                ('last_at', models.DateTimeField(blank=True, null=True)),
                ('hours', models.JSONField(default=dict, help_text='{hour: events}, while it is learned')),
                ('volumes', models.JSONField(default=dict, help_text='{hour: bytes}, while it is learned')),
                ('hour', models.PositiveIntegerField(default=0, help_text='the hour that is counted now')),
                ('hour_count', models.PositiveBigIntegerField(default=0)),
                ('hour_bytes', models.PositiveBigIntegerField(default=0)),
                ('baseline', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='items', to='runtime.baseline')),
                ('team', models.ForeignKey(blank=True, help_text='whose workload did it first', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='accounts.team')),
            ],
            options={
                'ordering': ['kind', 'name', 'how', 'port'],
            },
        ),
        migrations.AddConstraint(
            model_name='baselinechange',
            constraint=models.CheckConstraint(condition=models.Q(('what__in', ['lock', 'join'])), name='runtime_change_known'),
        ),
        migrations.AddConstraint(
            model_name='baselinechange',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None), ('what', 'lock')), fields=('baseline',), name='runtime_change_one_lock'),
        ),
        migrations.AddConstraint(
            model_name='baselinechange',
            constraint=models.CheckConstraint(condition=models.Q(('ended_at', None), ('ended_at__gte', models.F('asked_at')), _connector='OR'), name='runtime_change_ends_later'),
        ),
        migrations.AddIndex(
            model_name='baseline',
            index=models.Index(fields=['-last_at', '-id'], name='runtime_baseline_latest'),
        ),
        migrations.AddIndex(
            model_name='baseline',
            index=models.Index(fields=['status', '-last_at'], name='runtime_baseline_by_status'),
        ),
        migrations.AddConstraint(
            model_name='baseline',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['learning', 'proposed', 'asked', 'locked'])), name='runtime_baseline_status_known'),
        ),
        migrations.AddConstraint(
            model_name='baseline',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'locked'), _negated=True), models.Q(('locked_at__isnull', False), ('locked_by__isnull', False)), _connector='OR'), name='runtime_baseline_locked_by_somebody'),
        ),
        migrations.AddIndex(
            model_name='baselinedeviation',
            index=models.Index(fields=['baseline', '-last_at'], name='runtime_deviation_latest'),
        ),
        migrations.AddConstraint(
            model_name='baselinedeviation',
            constraint=models.UniqueConstraint(fields=('baseline', 'kind', 'name', 'how', 'port', 'deviation'), name='runtime_deviation_once'),
        ),
        migrations.AddIndex(
            model_name='baselineitem',
            index=models.Index(condition=models.Q(('short', ''), _negated=True), fields=['baseline', 'short'], name='runtime_item_short'),
        ),
        migrations.AddConstraint(
            model_name='baselineitem',
            constraint=models.UniqueConstraint(fields=('baseline', 'name', 'kind', 'how', 'port'), name='runtime_item_once'),
        ),
        migrations.AddConstraint(
            model_name='baselineitem',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['process', 'file', 'connection', 'syscall'])), name='runtime_item_kind_known'),
        ),
        migrations.RunPython(lay_down, lift),
    ]
