"""Services: what plays `warren.model.seams.Runtime`."""
