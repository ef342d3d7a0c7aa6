;; Asks for a table of 4294967295 entries before it runs anything: a host that does not
;; limit tables reserves gigabytes for it.
(module
  (memory (export "memory") 1)
  (table (export "table") 4294967295 funcref)
  (func (export "_start")))
