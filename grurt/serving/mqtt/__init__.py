"""Sessions over MQTT, through a broker: `--mqtt`, `--subscribe`, `--publish`.

::

    bridge     subscribes, takes messages, publishes replies
    broker     the connection to the broker, again and again
    inbox      one session's messages, one after the other
    messages   samples, numbers and commands in them; answers and errors
    topics     which topics are which sessions, and where the replies go
"""
