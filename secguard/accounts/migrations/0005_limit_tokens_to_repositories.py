from django.db import migrations, models
from django.utils import timezone

HELP = "Patterns of the names of those alone; null: all."


def end_limited(apps, schema_editor):
    """Back where nobody knows this limit, what has one would reach further: it ends instead."""
    now = timezone.now()
    limited = {"repositories__isnull": False}
    apps.get_model("accounts", "ApiToken").objects.filter(revoked_at=None, **limited).update(revoked_at=now)
    apps.get_model("accounts", "CiIdentity").objects.filter(withdrawn_at=None, **limited).update(withdrawn_at=now)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_limit_tokens_to_applications")]

    operations = [
        migrations.AddField(
            "apitoken", "repositories", models.JSONField(blank=True, help_text=HELP, null=True)
        ),
        migrations.AddField(
            "ciidentity", "repositories", models.JSONField(blank=True, help_text=HELP, null=True)
        ),
        migrations.AddConstraint(
            "apitoken",
            models.CheckConstraint(
                condition=models.Q(("repositories__isnull", True), ("team__isnull", False), _connector="OR"),
                name="apitoken_names_in_team",
            ),
        ),
        migrations.AddConstraint(
            "ciidentity",
            models.CheckConstraint(
                condition=models.Q(("repositories__isnull", True), ("team__isnull", False), _connector="OR"),
                name="ciidentity_names_in_team",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, end_limited),
    ]
