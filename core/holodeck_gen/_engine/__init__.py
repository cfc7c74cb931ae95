"""From tasks to outcomes: admission, accounts to choose from, batches."""
