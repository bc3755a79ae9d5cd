"""What analysts do every day in Jupyter, thin over kept libraries; needs the extra ``[notebook]``."""
