"""What a pretraining method is made of: contracts, corpora, options, schedules. It knows no method."""
