"""The field's database, Alyx: sessions, rows of tasks, claims, results."""
