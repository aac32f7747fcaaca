"""One open request for one thing, told by ids: two applications may carry one name after each other.

An index of its own on both databases: SQLite builds no table anew, and the laws of 0002 stay where they are.
"""

from django.db import migrations, models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    dependencies = [("decisions", "0002_approved_by_approval")]
    operations = [
        migrations.RemoveConstraint(model_name="decision", name="decision_one_open_request"),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.UniqueConstraint(
                F("risk"),
                F("scope_kind"),
                Coalesce("image", Value(0)),
                Coalesce("repository", Value(0)),
                Coalesce("application", Value(0)),
                condition=Q(status="requested"),
                name="decision_one_open_request",
            ),
        ),
    ]
