"""The named tasks: signature, resources, and the steps they are made of."""
