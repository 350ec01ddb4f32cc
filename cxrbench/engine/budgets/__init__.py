"""Label budgets: training on so many images, studies or patients."""
