"""The tree over the log and its signed checkpoints, which only grow as the log does.

Empty at first: a job takes in the entries there are, in steps (``services.grow``), so that this takes no time on a
large log. A tile is written on at its end while it has room, and its trigger lets nothing else be changed. As in 0002, the
triggers on INSERT are for SQLite's ``INSERT OR REPLACE``, which deletes without firing the one on DELETE.
"""

from django.db import migrations, models

TILE, TREE, CHECKPOINT = "audit_audittile", "audit_audittree", "audit_auditcheckpoint"
WORDS = "the audit log only grows: its tree and its checkpoints are neither changed nor removed"
OTHER_TILE = (
    'NEW.id <> OLD.id OR NEW.level <> OLD.level OR NEW."index" <> OLD."index"'
    " OR substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes"
)
OTHER_TREE = "NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.origin <> OLD.origin"
SAME_TILE = 'id = NEW.id OR (level = NEW.level AND "index" = NEW."index")'

SQLITE = [
    f"CREATE TRIGGER audit_tile_not_other BEFORE UPDATE ON {TILE} WHEN {OTHER_TILE}"
    f" BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
    f"CREATE TRIGGER audit_tree_not_back BEFORE UPDATE ON {TREE} WHEN {OTHER_TREE}"
    f" BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
    f"CREATE TRIGGER audit_checkpoint_no_update BEFORE UPDATE ON {CHECKPOINT}"
    f" BEGIN SELECT RAISE(ABORT, '{WORDS}'); END",
    *(
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END"
        for table in (TILE, TREE, CHECKPOINT)
    ),
    *(
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
        f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE(ABORT, '{WORDS}'); END"
        for table, same in ((TILE, SAME_TILE), (TREE, "id = NEW.id"), (CHECKPOINT, "id = NEW.id"))
    ),
]
SQLITE_BACK = [
    "DROP TRIGGER audit_tile_not_other",
    "DROP TRIGGER audit_tree_not_back",
    "DROP TRIGGER audit_checkpoint_no_update",
    *(f"DROP TRIGGER {table}_no_{what}" for table in (TILE, TREE, CHECKPOINT) for what in ("delete", "replace")),
]

_NOT = " FOR EACH ROW EXECUTE FUNCTION audit_tree_only_grows()"
POSTGRESQL = [
    "CREATE FUNCTION audit_tree_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN RAISE EXCEPTION '{WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    f"CREATE TRIGGER audit_tile_not_other BEFORE UPDATE ON {TILE} FOR EACH ROW WHEN ({OTHER_TILE})"
    " EXECUTE FUNCTION audit_tree_only_grows()",
    f"CREATE TRIGGER audit_tree_not_back BEFORE UPDATE ON {TREE} FOR EACH ROW WHEN ({OTHER_TREE})"
    " EXECUTE FUNCTION audit_tree_only_grows()",
    f"CREATE TRIGGER audit_checkpoint_no_update BEFORE UPDATE ON {CHECKPOINT}{_NOT}",
    *(f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {table}{_NOT}" for table in (TILE, TREE, CHECKPOINT)),
    *(
        f"CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_tree_only_grows()"
        for table in (TILE, TREE, CHECKPOINT)
    ),
]
POSTGRESQL_BACK = [
    *(f"DROP TRIGGER audit_no_truncate ON {table}" for table in (TILE, TREE, CHECKPOINT)),
    *(f"DROP TRIGGER audit_no_delete ON {table}" for table in (TILE, TREE, CHECKPOINT)),
    f"DROP TRIGGER audit_checkpoint_no_update ON {CHECKPOINT}",
    f"DROP TRIGGER audit_tree_not_back ON {TREE}",
    f"DROP TRIGGER audit_tile_not_other ON {TILE}",
    "DROP FUNCTION audit_tree_only_grows()",
]


def lay_down(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE, "postgresql": POSTGRESQL})


def take_up(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE_BACK, "postgresql": POSTGRESQL_BACK})


def run(schema_editor, statements):
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_head_only_grows")]

    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("size", models.BigIntegerField()),
                ("root", models.CharField(help_text="of the tree, in hexadecimal", max_length=64)),
                ("fingerprint", models.CharField(help_text="of the key that signed it", max_length=71)),
                ("note", models.TextField()),
                ("made_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["size", "id"], name="auditcheckpoint_size")],
            },
        ),
        migrations.CreateModel(
            name="AuditTile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("level", models.PositiveSmallIntegerField()),
                ("index", models.BigIntegerField()),
                ("hashes", models.BinaryField()),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("level", "index"), name="audittile_place")]},
        ),
        migrations.CreateModel(
            name="AuditTree",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("size", models.BigIntegerField(default=0)),
                (
                    "origin",
                    models.CharField(help_text="The log's name on its checkpoints, for ever the same.", max_length=200),
                ),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="audittree_single")],
            },
        ),
        migrations.RunPython(lay_down, take_up),
    ]
