"""The log's head only moves on, as the database's own law: set back it would hide that the newest entries were cut off.

As in 0002, the trigger on INSERT is for SQLite's ``INSERT OR REPLACE``, which deletes without firing the one on DELETE.
"""

from django.db import migrations

TABLE = "audit_audithead"
WORDS = "the audit log only grows: its head is neither set back nor removed"
# A new digest comes with a new entry alone; the first write fills the empty one.
BACK = "NEW.id <> OLD.id OR NEW.sequence < OLD.sequence OR (NEW.sequence = OLD.sequence AND NEW.digest <> OLD.digest)"

SQLITE = [
    f"CREATE TRIGGER audit_head_not_back BEFORE UPDATE ON {TABLE} WHEN {BACK}"
    f" BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
    f"CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
    f"CREATE TRIGGER audit_head_no_replace BEFORE INSERT ON {TABLE}"
    f" WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
]
SQLITE_BACK = [
    f"DROP TRIGGER {name}" for name in ("audit_head_not_back", "audit_head_no_delete", "audit_head_no_replace")
]

POSTGRESQL = [
    "CREATE FUNCTION audit_head_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN RAISE EXCEPTION '{WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    f"CREATE TRIGGER audit_head_not_back BEFORE UPDATE ON {TABLE}"
    f" FOR EACH ROW WHEN ({BACK}) EXECUTE FUNCTION audit_head_only_grows()",
    f"CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON {TABLE}"
    " FOR EACH ROW EXECUTE FUNCTION audit_head_only_grows()",
    f"CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON {TABLE}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_head_only_grows()",
]
POSTGRESQL_BACK = [
    f"DROP TRIGGER audit_head_no_truncate ON {TABLE}",
    f"DROP TRIGGER audit_head_no_delete ON {TABLE}",
    f"DROP TRIGGER audit_head_not_back ON {TABLE}",
    "DROP FUNCTION audit_head_only_grows()",
]


def lay_down(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE, "postgresql": POSTGRESQL})


def take_up(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE_BACK, "postgresql": POSTGRESQL_BACK})


def run(schema_editor, statements):
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]
    operations = [migrations.RunPython(lay_down, take_up)]
