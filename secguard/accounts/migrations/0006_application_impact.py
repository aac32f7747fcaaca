
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_limit_tokens_to_repositories'),
    ]

    operations = [
        migrations.AddField(
            model_name='application',
            name='impact',
            field=models.CharField(blank=True, choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('very-high', 'very-high')], default='', help_text='What it means to the mission where it fails; empty: nobody said so of it.', max_length=9),
        ),
        migrations.AddConstraint(
            model_name='application',
            constraint=models.CheckConstraint(condition=models.Q(('impact__in', ['', 'low', 'medium', 'high', 'very-high'])), name='application_impact_known'),
        ),
    ]
