import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """What clusters' agents answered while the server was away."""

    dependencies = [
        ("admission", "0005_promoted_and_signed"),
        ("workloads", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SnapshotAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uid", models.CharField(max_length=200)),
                ("answered_at", models.DateTimeField()),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="workloads.cluster"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["cluster", "answered_at"], name="snapshotanswer_age")],
                "constraints": [models.UniqueConstraint(fields=("cluster", "uid"), name="snapshotanswer_once")],
            },
        ),
        migrations.AddField(
            model_name="admissiondecision",
            name="answered_by",
            field=models.CharField(
                choices=[("server", "server"), ("agent", "agent")], db_default="server", default="server", max_length=8
            ),
        ),
        migrations.AddField(
            model_name="admissiondecision",
            name="snapshot_at",
            field=models.DateTimeField(
                blank=True,
                help_text="when the snapshot was made that the agent answered from; empty: it had none",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="admissiondecision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("answered_by", "agent"), models.Q(("answered_by", "server"), ("snapshot_at", None)), _connector="OR"
                ),
                name="admissiondecision_answered_by",
            ),
        ),
    ]
