"""The words of the log, for its search (``words``): a table beside the log that a job fills, in the form that each
database searches best. The log's own rows and the way they are written stay as they are.

PostgreSQL: ``fastupdate`` is off since each look-up would read the list of what is not yet in the index, once for each
epoch; the job that writes here has time. No statistics: no plan depends on them.

SQLite: FTS5 where it is compiled in, as in nearly every build; it keeps no text (``content=''``) and no positions
(``detail=none``), and takes every character but white space as part of a word. Elsewhere a plain table, read from its
newest row on.
"""

import string

from django.db import migrations, models

# All punctuation but what cuts words (``words``).
TOKENS = "".join(sorted(set(string.punctuation) - set(",;\"'`()[]{}<>|\\")))
FTS5 = (
    "CREATE VIRTUAL TABLE audit_words USING fts5(words, content='', columnsize=0, detail=none,"
    f" tokenize=\"ascii tokenchars '{TOKENS}'\")"
)
PLAIN = "CREATE TABLE audit_words (rowid INTEGER PRIMARY KEY, words TEXT NOT NULL)"
POSTGRESQL = (
    "CREATE TABLE audit_words (sequence bigint PRIMARY KEY, words tsvector NOT NULL)",
    "ALTER TABLE audit_words ALTER COLUMN words SET STATISTICS 0",
    "CREATE INDEX audit_words_gin ON audit_words USING gin (words) WITH (fastupdate = off)",
)


def lay_down(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor == "postgresql":
        for statement in POSTGRESQL:
            schema_editor.execute(statement)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')")
        cursor.execute(FTS5 if cursor.fetchone()[0] else PLAIN)


def take_up(apps, schema_editor):
    schema_editor.execute("DROP TABLE audit_words")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_tree")]

    operations = [
        migrations.CreateModel(
            name="AuditSearch",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("covered", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="auditsearch_single")],
            },
        ),
        migrations.RunPython(lay_down, take_up),
    ]
