"""``headway.discovery.v1alpha1``: `make proto` writes its modules."""
