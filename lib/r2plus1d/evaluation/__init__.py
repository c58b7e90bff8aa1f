"""From predictions of clips to what is known of videos."""
