"""What was found out about a challenger, for people: HTML, Markdown, figures. Views of records."""
