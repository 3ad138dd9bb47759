"""What goes into the lab's archive of llama.cpp."""
