DROP TABLE installation;
DROP TABLE users;
