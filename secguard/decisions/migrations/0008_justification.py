"""Why something is not affected, in one of five words; rows from before have none.

On SQLite the column and its constraint are added in place: Django would make the table anew, and the triggers of
migrations 0002, 0004 and 0007 would be gone.
"""

from django.db import migrations, models

TABLE = "decisions_decision"
WORDS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
KNOWN = "justification = '' OR (kind = 'not_affected' AND justification IN (%s))" % ", ".join(f"'{w}'" for w in WORDS)


class AddJustification(migrations.AddField):
    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        schema_editor.execute(
            f"ALTER TABLE {TABLE} ADD COLUMN justification varchar(60) NOT NULL DEFAULT ''"
            f" CONSTRAINT decision_justification_known CHECK ({KNOWN})"
        )

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        schema_editor.execute(f"ALTER TABLE {TABLE} DROP COLUMN justification")


class AddKnown(migrations.AddConstraint):
    """On SQLite it came, and goes, with the column."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_backwards(app_label, schema_editor, from_state, to_state)


CHANGED = "NEW.justification <> OLD.justification"
SAME = "decision_justified_the_same"
SAYING = "what was asked for is what was voted on"


def lay_down(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(
            f"CREATE TRIGGER {SAME} BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN {CHANGED}"
            f" BEGIN SELECT RAISE(ABORT, '{SAME}: {SAYING}'); END"
        )
        return
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    schema_editor.execute(
        f"CREATE FUNCTION {SAME}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {CHANGED} THEN"
        f" RAISE EXCEPTION '{SAME}: {SAYING}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    schema_editor.execute(
        f"CREATE TRIGGER {SAME} BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {SAME}()"
    )


def lift(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {SAME}" + ("" if is_sqlite else f" ON {TABLE}"))
    if not is_sqlite:
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {SAME}()")


class Migration(migrations.Migration):
    dependencies = [("decisions", "0007_control_laws")]
    operations = [
        AddJustification(
            model_name="decision",
            name="justification",
            field=models.CharField(
                blank=True,
                choices=[(word, word) for word in WORDS],
                default="",
                help_text="why it is not affected",
                max_length=60,
            ),
        ),
        AddKnown(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(justification="")
                | models.Q(kind="not_affected", justification__in=list(WORDS)),
                name="decision_justification_known",
            ),
        ),
        migrations.RunPython(lay_down, lift),
    ]
