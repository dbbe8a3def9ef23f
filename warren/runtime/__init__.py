"""What runs tasks: implementations of `warren.model.interfaces.Runtime`."""
