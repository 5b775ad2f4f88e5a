DROP SEQUENCE queue_tickets;
DROP TABLE queue_workers;
