"""References such as ``<<stories.text[index]>>``: reading them, and finding what they name."""
