"""Seats of deputies, what waits too long, and votes that need a second look.

Every column may be empty, so SQLite adds them and keeps the tables' triggers. Taking them away again builds the tables
anew: their triggers go with the old ones, and no trigger of another table may speak of them meanwhile. So all that do
are lifted first, and laid down again as they were.
"""

import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

LIFTED = []


def nothing(apps, schema_editor):
    pass


def lift(apps, schema_editor):
    if schema_editor.connection.vendor != "sqlite":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND instr(sql, 'approvals_') > 0")
        found = cursor.fetchall()
    LIFTED[:] = [sql for _, sql in found]
    for name, _ in found:
        schema_editor.execute(f"DROP TRIGGER {name}")


def lay_down(apps, schema_editor):
    while LIFTED:
        schema_editor.execute(LIFTED.pop(0), params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0003_not_replaced'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(nothing, lay_down),
        migrations.CreateModel(
            name='Absence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(blank=True, help_text='where it was ended before its time', null=True)),
            ],
            options={
                'ordering': ['-starts_at', '-id'],
            },
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='escalates_at',
            field=models.DateTimeField(blank=True, help_text='from then on it waited too long', null=True),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='escalates_to',
            field=models.JSONField(blank=True, help_text='the role that may then fill any seat', null=True),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='second_look',
            field=models.JSONField(blank=True, help_text='what counts as too much too fast', null=True),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='told_at',
            field=models.DateTimeField(blank=True, help_text='when people were told that it waited too long', null=True),
        ),
        migrations.AddField(
            model_name='vote',
            name='away_until',
            field=models.DateTimeField(blank=True, help_text='of whom the voter is the deputy of', null=True),
        ),
        migrations.AddField(
            model_name='vote',
            name='parts',
            field=models.JSONField(blank=True, help_text='{team id, or empty for the organisation: roles}', null=True),
        ),
        migrations.AddField(
            model_name='vote',
            name='seat_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='vote',
            name='second_look',
            field=models.JSONField(blank=True, help_text="why it counts only together with another's", null=True),
        ),
        migrations.AddIndex(
            model_name='approvalrequest',
            index=models.Index(condition=models.Q(('escalates_at__isnull', False), ('status', 'open'), ('told_at', None)), fields=['escalates_at'], name='approvalrequest_escalating'),
        ),
        migrations.AddIndex(
            model_name='vote',
            index=models.Index(fields=['voter', 'created_at'], name='vote_by_voter'),
        ),
        migrations.AddConstraint(
            model_name='vote',
            constraint=models.UniqueConstraint(models.F('request'), django.db.models.functions.comparison.Coalesce('seat_of', 'voter'), name='vote_seat_once'),
        ),
        migrations.AddField(
            model_name='absence',
            name='deputy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='absence',
            name='person',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='absences', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='absence',
            index=models.Index(fields=['deputy', 'ends_at'], name='absence_by_deputy'),
        ),
        migrations.AddConstraint(
            model_name='absence',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='absence_ends_later'),
        ),
        migrations.AddConstraint(
            model_name='absence',
            constraint=models.CheckConstraint(condition=models.Q(('person', models.F('deputy')), _negated=True), name='absence_deputy_is_another'),
        ),
        migrations.RunPython(nothing, lift),
    ]
