"""An approval counts for whoever asked for it alone, at the moment it is used too; and a decision is not replaced.

The second is for SQLite's ``INSERT OR REPLACE``, which deletes a row and fires no trigger on DELETE.
"""

from django.db import migrations

TABLE = "decisions_decision"
OF_ANOTHER = (
    "NEW.status = 'approved' AND OLD.status <> 'approved' AND NOT EXISTS (SELECT 1 FROM approvals_approvalrequest a"
    " WHERE a.id = NEW.approval_id AND a.requester_id = NEW.requested_by_id)"
)
WORDS = "the approval request belongs to whoever asks for the decision"

SQLITE = [
    f"CREATE TRIGGER decision_approved_for_requester BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN {OF_ANOTHER}"
    f" BEGIN SELECT RAISE(ABORT, 'decision_approved_for_requester: {WORDS}'); END",
    f"CREATE TRIGGER decision_not_replaced BEFORE INSERT ON {TABLE} FOR EACH ROW"
    f" WHEN EXISTS (SELECT 1 FROM {TABLE} o WHERE o.id = NEW.id OR o.approval_id = NEW.approval_id)"
    " BEGIN SELECT RAISE(ABORT, 'decision_not_replaced: what was asked for is what was voted on'); END",
]
SQLITE_BACK = [
    "DROP TRIGGER IF EXISTS decision_not_replaced",
    "DROP TRIGGER IF EXISTS decision_approved_for_requester",
]
# 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
POSTGRESQL = [
    "CREATE FUNCTION decision_approved_for_requester() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN"
    f" IF {OF_ANOTHER} THEN RAISE EXCEPTION 'decision_approved_for_requester: {WORDS}' USING ERRCODE = '23514';"
    " END IF; RETURN NEW; END $law$",
    f"CREATE TRIGGER decision_approved_for_requester BEFORE UPDATE ON {TABLE}"
    " FOR EACH ROW EXECUTE FUNCTION decision_approved_for_requester()",
]
POSTGRESQL_BACK = [
    f"DROP TRIGGER IF EXISTS decision_approved_for_requester ON {TABLE}",
    "DROP FUNCTION IF EXISTS decision_approved_for_requester()",
]


def lay_down(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE, "postgresql": POSTGRESQL})


def lift(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE_BACK, "postgresql": POSTGRESQL_BACK})


def run(schema_editor, statements):
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("decisions", "0003_one_open_request_by_ids"), ("approvals", "0003_not_replaced")]
    operations = [migrations.RunPython(lay_down, lift)]
