"""No decision is in force without its approval: the database's own law (DESIGN rules 4 to 6), also for raw SQL.

The statements stand here and not in the application, because a migration must say the same for ever. Django rebuilds
a SQLite table to alter it and drops its triggers with it: a later migration that alters ``decisions_decision`` (or a
table that a law reads) removes these laws first and lays them down again afterwards (tests/decisions/test_services.py fails
if it does not).
"""

from django.db import migrations

APPROVAL_IS_NOT = "NOT EXISTS (SELECT 1 FROM approvals_approvalrequest a WHERE a.id = NEW.approval_id AND "

# (name, event, condition that is refused, what to say). NEW and OLD mean the same on both databases.
LAWS = [
    (
        "decision_requester_is_approvals",
        "INSERT",
        f"{APPROVAL_IS_NOT}a.requester_id = NEW.requested_by_id)",
        "the approval request belongs to whoever asks for the decision",
    ),
    (
        "decision_begins_unapproved",
        "INSERT",
        f"NEW.status = 'approved' AND {APPROVAL_IS_NOT}a.status = 'approved')",
        "a decision is approved by its approval request",
    ),
    (
        "decision_needs_approval",
        "UPDATE",
        f"NEW.status = 'approved' AND OLD.status <> 'approved' AND {APPROVAL_IS_NOT}a.status = 'approved')",
        "a decision is approved by its approval request",
    ),
    (
        "decision_ends_once",
        "UPDATE",
        "OLD.status IN ('rejected', 'withdrawn', 'revoked', 'ended') AND NEW.status <> OLD.status",
        "a decision that ended stays ended",
    ),
    (
        "decision_never_asked_back",
        "UPDATE",
        "NEW.status = 'requested' AND OLD.status <> 'requested'",
        "a decision that was decided is not a request again",
    ),
    (
        "decision_end_not_later",
        "UPDATE",
        "NEW.expires_at > OLD.expires_at",
        "the end of a decision may only come nearer: more time is a new request",
    ),
    (
        "decision_says_the_same",
        "UPDATE",
        "NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.scope_kind <> OLD.scope_kind"
        " OR COALESCE(NEW.image_id, 0) <> COALESCE(OLD.image_id, 0)"
        " OR COALESCE(NEW.repository_id, 0) <> COALESCE(OLD.repository_id, 0)"
        " OR COALESCE(NEW.application_id, 0) <> COALESCE(OLD.application_id, 0)"
        " OR NEW.reason <> OLD.reason OR NEW.conditions <> OLD.conditions OR NEW.snapshot <> OLD.snapshot"
        " OR NEW.requested_by_id <> OLD.requested_by_id OR NEW.requested_at <> OLD.requested_at"
        " OR NEW.approval_id <> OLD.approval_id OR NEW.appetite_id <> OLD.appetite_id"
        " OR NEW.appetite_row <> OLD.appetite_row",
        "what was asked for is what was voted on",
    ),
]

# Two names that prove to be one flaw make two risks one; a decision follows, but never to something else. PostgreSQL
# alone: a trigger of SQLite that reads another app's table stands in the way of every later change of that table.
LAWS_OF_POSTGRESQL = [
    (
        "decision_risk_is_same_place",
        "UPDATE",
        "NEW.risk_id <> OLD.risk_id AND NOT EXISTS (SELECT 1 FROM findings_risk n, findings_risk o"
        " WHERE n.id = NEW.risk_id AND o.id = OLD.risk_id AND n.kind = 'vulnerability' AND o.kind = n.kind"
        " AND o.package = n.package)",
        "a decision stays with its risk, or follows it to another name of the flaw in the same package",
    ),
]


def lay_down(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    for law in LAWS + (LAWS_OF_POSTGRESQL if vendor == "postgresql" else []):
        for statement in STATEMENTS[vendor](*law):
            schema_editor.execute(statement)


def lift(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for name, *_ in reversed(LAWS + LAWS_OF_POSTGRESQL):
        on = " ON decisions_decision" if postgresql else ""
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")
        if postgresql:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def sqlite(name, event, condition, message):
    yield (
        f"CREATE TRIGGER {name} BEFORE {event} ON decisions_decision FOR EACH ROW WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
    )


def postgresql(name, event, condition, message):
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {condition} THEN"
        f" RAISE EXCEPTION '{name}: {message}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    yield f"CREATE TRIGGER {name} BEFORE {event} ON decisions_decision FOR EACH ROW EXECUTE FUNCTION {name}()"


STATEMENTS = {"sqlite": sqlite, "postgresql": postgresql}


class Migration(migrations.Migration):
    dependencies = [
        ("decisions", "0001_initial"),
        ("approvals", "0002_four_eyes"),
        ("findings", "0001_initial"),
    ]
    operations = [migrations.RunPython(lay_down, lift)]
