"""Queue worker for video, image and email jobs on Redis lists and RabbitMQ queues."""
