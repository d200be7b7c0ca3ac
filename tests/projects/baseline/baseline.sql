CREATE TABLE legacy (id int, fax text);
