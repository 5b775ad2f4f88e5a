DROP TABLE queue_ends;
DROP TABLE queue_generations;
