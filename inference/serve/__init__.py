"""`inference serve`: the model as a service, with a page to try it."""
