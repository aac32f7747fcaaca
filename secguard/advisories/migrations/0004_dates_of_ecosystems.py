from django.db import migrations, models


def note_what_is_there(apps, schema_editor):
    """Which file had what is no longer known: of all that is here the newest file's date, as it was told until now."""
    Import, Affected = (apps.get_model("advisories", name) for name in ("Import", "AffectedRange"))
    rows = Import.objects.filter(status="finished", data_at__isnull=False).order_by("-data_at")
    dates = (at for kinds, at in rows.values_list("kinds", "data_at").iterator() if not set(kinds) <= {"kev", "epss"})
    newest = next(dates, None)
    if newest is None:
        return
    EcosystemData = apps.get_model("advisories", "EcosystemData")
    names = Affected.objects.order_by().values_list("ecosystem", flat=True).distinct()
    EcosystemData.objects.bulk_create([EcosystemData(ecosystem=name, data_at=newest) for name in names])


class Migration(migrations.Migration):
    dependencies = [("advisories", "0003_fewer_indexes")]

    operations = [
        migrations.CreateModel(
            name="EcosystemData",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ecosystem", models.CharField(max_length=100, unique=True)),
                ("data_at", models.DateTimeField()),
            ],
        ),
        migrations.RunPython(note_what_is_there, migrations.RunPython.noop, elidable=True),
    ]
