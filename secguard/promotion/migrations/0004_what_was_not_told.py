from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of its own migration: PostgreSQL makes none on a table that the same transaction wrote rows of."""

    dependencies = [("promotion", "0003_told_to_the_event_store")]

    operations = [
        migrations.AddIndex(
            model_name="promotion",
            index=models.Index(
                condition=models.Q(("status", models.F("told")), _negated=True), fields=["id"], name="promotion_untold"
            ),
        ),
    ]
