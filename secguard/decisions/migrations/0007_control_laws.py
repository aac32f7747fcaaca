"""The database's own law of controls: what was confirmed is what counts, and evidence says the same for ever.

Django rebuilds a SQLite table to alter it and drops its triggers with it: a later migration that alters one of these
tables lays these laws down again afterwards (tests/decisions/test_controls_laws.py fails if it does not).
"""

from django.db import migrations

# (name, table, condition that is refused on UPDATE, what to say). NEW and OLD mean the same on both databases.
LAWS = [
    (
        "decision_leans_when_approved",
        "decisions_decision",
        "NEW.status = 'approved' AND OLD.status <> 'approved' AND NEW.controls_until IS NULL AND EXISTS"
        " (SELECT 1 FROM decisions_decisioncontrol l WHERE l.decision_id = NEW.id)",
        "a decision that leans on controls ends with them",
    ),
    (
        "decision_leans_for_ever",
        "decisions_decision",
        "NEW.controls_until IS NULL AND OLD.controls_until IS NOT NULL",
        "a decision that leans on controls ends with them",
    ),
    (
        "control_says_the_same",
        "decisions_control",
        "NEW.id <> OLD.id OR NEW.name <> OLD.name OR NEW.kind <> OLD.kind OR NEW.description <> OLD.description"
        " OR COALESCE(NEW.application_id, 0) <> COALESCE(OLD.application_id, 0)"
        " OR NEW.kept_alive_by <> OLD.kept_alive_by OR NEW.every_hours <> OLD.every_hours OR NEW.watch <> OLD.watch"
        " OR NEW.proposed_by_id <> OLD.proposed_by_id OR NEW.proposed_at <> OLD.proposed_at"
        " OR (OLD.confirmed_at IS NOT NULL AND (NEW.confirmed_at IS NULL OR NEW.confirmed_at <> OLD.confirmed_at"
        " OR NEW.confirmed_by_id <> OLD.confirmed_by_id))",
        "what was proposed is what was confirmed: anything else is another control",
    ),
    (
        "control_retired_for_ever",
        "decisions_control",
        "OLD.status = 'retired' AND (NEW.status <> 'retired' OR NEW.retired_at <> OLD.retired_at)"
        " OR OLD.status = 'confirmed' AND NEW.status = 'proposed'",
        "a control that is retired stays retired",
    ),
    (
        "controlevidence_says_the_same",
        "decisions_controlevidence",
        "NEW.id <> OLD.id OR NEW.control_id <> OLD.control_id OR NEW.kind <> OLD.kind OR NEW.says <> OLD.says"
        " OR NEW.first_seen_at <> OLD.first_seen_at OR NEW.seen_at < OLD.seen_at OR NEW.noted_at < OLD.noted_at"
        " OR NEW.count < OLD.count OR COALESCE(NEW.by_id, 0) <> COALESCE(OLD.by_id, 0) OR NEW.source <> OLD.source"
        " OR NEW.note <> OLD.note OR NEW.url <> OLD.url OR NEW.digest <> OLD.digest"
        " OR (NEW.kind = 'check' AND NEW.seen_at <> OLD.seen_at)",
        "evidence is added to, never changed",
    ),
]


def lay_down(apps, schema_editor):
    for law in LAWS:
        for statement in STATEMENTS[schema_editor.connection.vendor](*law):
            schema_editor.execute(statement)


def lift(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for name, table, *_ in reversed(LAWS):
        on = f" ON {table}" if postgresql else ""
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")
        if postgresql:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def sqlite(name, table, condition, message):
    yield (
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
    )


def postgresql(name, table, condition, message):
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {condition} THEN"
        f" RAISE EXCEPTION '{name}: {message}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    yield f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"


STATEMENTS = {"sqlite": sqlite, "postgresql": postgresql}


class Migration(migrations.Migration):
    dependencies = [("decisions", "0006_controls")]
    operations = [migrations.RunPython(lay_down, lift)]
