"""Values that everything else speaks in: tasks, providers' words, results, money, names."""
