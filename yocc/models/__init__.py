"""What yocc knows about models: profiles of detector families, and builders of whole graphs."""
