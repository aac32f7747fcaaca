from django.db import migrations, models


def join(apps, schema_editor):
    """Backwards: of builds that only their stream told apart one is used, and matched again.

    The others stay, in words of no ecosystem and with nothing that refers to them: PostgreSQL does not alter a table
    in the transaction that deleted rows of it.
    """
    builds = apps.get_model("images", "ComponentBuild")
    occurrences = apps.get_model("images", "ImageComponent")
    words = ("component_id", "ecosystem", "source_name", "source_version")
    alike = builds.objects.order_by().values(*words).annotate(n=models.Count("pk")).filter(n__gt=1)
    for group in list(alike.values(*words)):
        kept, *others = builds.objects.filter(**group).order_by("pk").values_list("pk", flat=True)
        occurrences.objects.filter(build__in=others).update(build=kept)
        builds.objects.filter(pk=kept).update(matched_to=0)
        for other in others:
            builds.objects.filter(pk=other).update(ecosystem="", source_version=f"unused {other}")


class Migration(migrations.Migration):
    dependencies = [("images", "0005_owner_of_a_component")]

    operations = [
        migrations.RemoveConstraint("componentbuild", "componentbuild_once"),
        migrations.RunPython(migrations.RunPython.noop, join),
        migrations.AddField(
            model_name="componentbuild",
            name="stream",
            field=models.CharField(
                blank=True, db_default="", help_text="of a module's package: nodejs:16", max_length=210
            ),
        ),
        migrations.AddConstraint(
            model_name="componentbuild",
            constraint=models.UniqueConstraint(
                fields=("component", "ecosystem", "source_name", "source_version", "stream"), name="componentbuild_once"
            ),
        ),
    ]
