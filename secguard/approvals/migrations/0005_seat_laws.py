"""What deputies may not do and a second look needs, as the database's own law (see 0002)."""

from django.db import migrations

_AWAY = (
    "SELECT 1 FROM approvals_absence a WHERE a.person_id = NEW.seat_of_id AND a.deputy_id = NEW.voter_id"
    " AND a.starts_at <= NEW.created_at AND a.ends_at > NEW.created_at"
    " AND (a.ended_at IS NULL OR a.ended_at > NEW.created_at)"
)
_YES = (
    "(SELECT COUNT(DISTINCT v.voter_id) FROM approvals_vote v WHERE v.request_id = NEW.id AND v.choice = 'approve'"
    " AND v.voter_id <> NEW.requester_id{})"
)
# (name, table, event, condition that is refused, what to say). {differs} is how a database compares what may be empty.
LAWS = [
    (
        "vote_not_in_requesters_seat",
        "approvals_vote",
        "INSERT",
        "NEW.seat_of_id IS NOT NULL AND (NEW.seat_of_id = NEW.voter_id OR EXISTS (SELECT 1 FROM"
        " approvals_approvalrequest r WHERE r.id = NEW.request_id AND r.requester_id = NEW.seat_of_id))",
        "nobody votes in the seat of who asked",
    ),
    (
        "vote_by_deputy_while_away",
        "approvals_vote",
        "INSERT",
        f"NEW.seat_of_id IS NOT NULL AND NOT EXISTS ({_AWAY})",
        "a deputy votes while the person is away, and at no other time",
    ),
    (
        "vote_keeps_its_seat",
        "approvals_vote",
        "UPDATE",
        "NEW.seat_of_id {differs} OLD.seat_of_id OR NEW.parts {differs} OLD.parts"
        " OR NEW.away_until {differs} OLD.away_until OR NEW.second_look {differs} OLD.second_look",
        "a vote stays as it was cast",
    ),
    (
        "approvalrequest_waits_as_asked",
        "approvals_approvalrequest",
        "UPDATE",
        "NEW.escalates_at {differs} OLD.escalates_at OR NEW.escalates_to {differs} OLD.escalates_to"
        " OR NEW.second_look {differs} OLD.second_look",
        "how long it may wait, and what needs a second look, stays as it was asked",
    ),
    (
        "approvalrequest_needs_second_look",
        "approvals_approvalrequest",
        "UPDATE",
        "NEW.status = 'approved' AND OLD.status <> 'approved' AND NEW.required_votes > "
        + _YES.format(" AND v.second_look IS NULL")
        + " AND NEW.required_votes = "
        + _YES.format(""),
        "what was approved in haste needs one person more",
    ),
]
SAME_SEAT = (
    "vote_seat_not_replaced",
    "approvals_vote",
    "INSERT",
    "EXISTS (SELECT 1 FROM approvals_vote o WHERE o.request_id = NEW.request_id"
    " AND COALESCE(o.seat_of_id, o.voter_id) = COALESCE(NEW.seat_of_id, NEW.voter_id))",
    "a vote stays as it was cast",
)
"""SQLite alone: what its unique index finds in the way, INSERT OR REPLACE takes away (see 0003)."""


def lay_down(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    for law in LAWS if vendor == "postgresql" else [*LAWS, SAME_SEAT]:
        for statement in STATEMENTS[vendor](*law):
            schema_editor.execute(statement)


def lift(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for name, table, *_ in reversed([*LAWS, SAME_SEAT]):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}" + (f" ON {table}" if postgresql else ""))
        if postgresql:
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")


def sqlite(name, table, event, condition, message):
    yield (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN {condition.replace('{differs}', 'IS NOT')}"
        f" BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
    )


def postgresql(name, table, event, condition, message):
    # 23514 is check_violation: Django raises IntegrityError, as it does for SQLite's RAISE(ABORT).
    refused = condition.replace("{differs}", "IS DISTINCT FROM")
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $law$ BEGIN IF {refused} THEN"
        f" RAISE EXCEPTION '{name}: {message}' USING ERRCODE = '23514'; END IF; RETURN NEW; END $law$"
    )
    yield f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"


STATEMENTS = {"sqlite": sqlite, "postgresql": postgresql}


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_seats_and_waiting")]
    operations = [migrations.RunPython(lay_down, lift)]
