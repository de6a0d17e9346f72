"""Files of sessions on their way from acquisition computers: freeing disks, copying, moving and renaming sessions."""
