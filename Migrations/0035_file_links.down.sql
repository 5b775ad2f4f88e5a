DROP TABLE erased_users;
DROP TRIGGER messages_forget_file_link_too ON messages;
DROP TRIGGER messages_forget_file_link ON messages;
DROP FUNCTION forget_file_link();
DROP TABLE file_links;
