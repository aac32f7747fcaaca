from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of its own migration: PostgreSQL makes none on a table that the same transaction wrote rows of."""

    dependencies = [("admission", "0007_told_to_the_event_store")]

    operations = [
        migrations.AddIndex(
            model_name="admissiondecision",
            index=models.Index(
                condition=models.Q(("count__gt", models.F("told"))), fields=["id"], name="admissiondecision_untold"
            ),
        ),
    ]
