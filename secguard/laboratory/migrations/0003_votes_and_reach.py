from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('laboratory', '0002_promotions_and_decisions'),
    ]

    operations = [
        migrations.AddField(
            model_name='redecided',
            name='missing',
            field=models.JSONField(default=dict, help_text='{role: seats that would be empty}, of the part that needs most'),
        ),
        migrations.AddField(
            model_name='redecided',
            name='open_parts',
            field=models.PositiveIntegerField(default=0, help_text='teams whose part would have an empty seat'),
        ),
        migrations.AddField(
            model_name='redecided',
            name='reach',
            field=models.CharField(blank=True, choices=[('away', 'away'), ('nobody', 'nobody')], max_length=6),
        ),
        migrations.AddField(
            model_name='redecided',
            name='votes',
            field=models.CharField(blank=True, choices=[('short', 'short'), ('lost', 'lost'), ('enough', 'enough')], max_length=6),
        ),
    ]
