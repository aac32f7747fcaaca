from django.db import migrations, models


class Migration(migrations.Migration):
    """What a cluster asks of images besides the verdict."""

    dependencies = [("admission", "0004_answers_outlive_images")]

    operations = [
        migrations.AddField(
            model_name="clustergate",
            name="environment",
            field=models.CharField(blank=True, help_text="what runs here was promoted to it", max_length=63, default=""),
        ),
        migrations.AddField(
            model_name="clustergate",
            name="signers",
            field=models.JSONField(blank=True, default=list, help_text="keys, one of which signed what runs here"),
        ),
    ]
