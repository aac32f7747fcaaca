"""Four eyes as the database's own law (DESIGN rule 6): triggers that hold for every path, also for raw SQL.

The statements stand here and not in the application, because a migration must say the same for ever. Django rebuilds
a SQLite table to alter it and drops its triggers with it: a later migration that alters one of these tables removes
these laws first and lays them down again afterwards (tests/approvals/test_services.py fails if it does not).
"""

from django.db import migrations

# (name, table, event, condition that is refused, what to say). NEW and OLD mean the same on both databases.
LAWS = [
    (
        "vote_not_by_requester",
        "approvals_vote",
        "INSERT",
        "EXISTS (SELECT 1 FROM approvals_approvalrequest r WHERE r.id = NEW.request_id"
        " AND r.requester_id = NEW.voter_id)",
        "nobody votes on their own request",
    ),
    (
        "vote_on_open_request",
        "approvals_vote",
        "INSERT",
        "EXISTS (SELECT 1 FROM approvals_approvalrequest r WHERE r.id = NEW.request_id AND r.status <> 'open')",
        "a vote needs an open approval request",
    ),
    (
        "vote_stays_as_cast",
        "approvals_vote",
        "UPDATE",
        "NEW.id <> OLD.id OR NEW.request_id <> OLD.request_id OR NEW.voter_id <> OLD.voter_id"
        " OR NEW.choice <> OLD.choice OR NEW.comment <> OLD.comment OR NEW.roles <> OLD.roles"
        " OR NEW.created_at <> OLD.created_at",
        "a vote stays as it was cast",
    ),
    (
        "approvalrequest_begins_unapproved",
        "approvals_approvalrequest",
        "INSERT",
        "NEW.status = 'approved'",
        "an approval request is approved by votes, not when it is made",
    ),
    (
        "approvalrequest_asks_the_same",
        "approvals_approvalrequest",
        "UPDATE",
        "NEW.id <> OLD.id OR NEW.requester_id <> OLD.requester_id OR NEW.required <> OLD.required"
        " OR NEW.required_votes <> OLD.required_votes OR NEW.created_at <> OLD.created_at",
        "who asks, and for how many votes, stays as it was asked",
    ),
    (
        "approvalrequest_ends_once",
        "approvals_approvalrequest",
        "UPDATE",
        "OLD.status <> 'open' AND NEW.status <> OLD.status",
        "an approval request that was closed stays closed",
    ),
    (
        "approvalrequest_needs_votes",
        "approvals_approvalrequest",
        "UPDATE",
        "NEW.status = 'approved' AND OLD.status <> 'approved' AND NEW.required_votes >"
        " (SELECT COUNT(DISTINCT v.voter_id) FROM approvals_vote v WHERE v.request_id = NEW.id"
        " AND v.choice = 'approve' AND v.voter_id <> NEW.requester_id)",
        "an approval request needs its votes, from people other than the requester",
    ),
]


def lay_down(apps, schema_editor):
    for law in LAWS:
        for statement in STATEMENTS[schema_editor.connection.vendor](*law):
            schema_editor.execute(statement)


def lift(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for name, table, *_ in reversed(LAWS):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if postgresql else ""))
        if postgresql:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def sqlite(name, table, event, condition, message):
    yield (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
    )


def postgresql(name, table, event, condition, message):
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {condition} THEN"
        f" RAISE EXCEPTION '{name}: {message}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    yield f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"


STATEMENTS = {"sqlite": sqlite, "postgresql": postgresql}


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]
    operations = [migrations.RunPython(lay_down, lift)]
