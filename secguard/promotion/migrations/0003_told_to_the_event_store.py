from datetime import timedelta

from django.db import migrations, models
from django.utils import timezone


def leave_what_is_old(apps, _schema_editor):
    """What was asked for more than a week ago stays where it is: the event store begins with the last days."""
    rows = apps.get_model("promotion", "Promotion").objects
    rows.filter(requested_at__lt=timezone.now() - timedelta(days=7)).update(told=models.F("status"))


class Migration(migrations.Migration):
    dependencies = [("promotion", "0002_digests")]

    operations = [
        migrations.AddField(
            model_name="promotion",
            name="told",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="the status that the event store was told last",
                max_length=10,
            ),
        ),
        migrations.RunPython(leave_what_is_old, migrations.RunPython.noop, elidable=True),
    ]
