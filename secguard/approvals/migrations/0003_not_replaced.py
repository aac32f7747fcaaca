"""What was asked and voted is not replaced either: on SQLite ``INSERT OR REPLACE`` deletes a row and fires no trigger on
DELETE (sqlite.org/lang_conflict.html), so a rejection could become an approval, and a request somebody else's.

PostgreSQL has no such statement: its ``ON CONFLICT DO UPDATE`` meets the laws on UPDATE of 0002.
"""

from django.db import migrations

# (name, table, what stands in the way, what to say)
LAWS = [
    (
        "vote_not_replaced",
        "approvals_vote",
        "o.id = NEW.id OR (o.request_id = NEW.request_id AND o.voter_id = NEW.voter_id)",
        "a vote stays as it was cast",
    ),
    (
        "approvalrequest_not_replaced",
        "approvals_approvalrequest",
        "o.id = NEW.id",
        "who asks, and for how many votes, stays as it was asked",
    ),
]


def lay_down(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for name, table, same, message in LAWS:
            schema_editor.execute(
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW"
                f" WHEN EXISTS (SELECT 1 FROM {table} o WHERE {same})"
                f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
            )


def lift(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for name, *_ in LAWS:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_four_eyes")]
    operations = [migrations.RunPython(lay_down, lift)]
