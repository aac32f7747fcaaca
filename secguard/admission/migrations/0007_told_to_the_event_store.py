from datetime import timedelta

from django.db import migrations, models
from django.utils import timezone


def leave_what_is_old(apps, _schema_editor):
    """What was answered more than a week ago stays where it is: the event store begins with the last days."""
    rows = apps.get_model("admission", "AdmissionDecision").objects
    rows.filter(last_at__lt=timezone.now() - timedelta(days=7)).update(told=models.F("count"))


class Migration(migrations.Migration):
    dependencies = [("admission", "0006_answers_of_agents")]

    operations = [
        migrations.AddField(
            model_name="admissiondecision",
            name="told",
            field=models.PositiveBigIntegerField(
                db_default=0, default=0, help_text="of the count, to the event store"
            ),
        ),
        migrations.RunPython(leave_what_is_old, migrations.RunPython.noop, elidable=True),
    ]
