"""What a chip is to the compiler: boards, and the messages of the link."""
