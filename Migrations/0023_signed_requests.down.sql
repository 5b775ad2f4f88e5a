DROP TABLE signed_requests;
