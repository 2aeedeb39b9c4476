// Package contracttest holds the contracts that tests need beside the registry: a
// token to pay with and a contract wallet (ERC-1271). generate.sh makes it from
// ../testdata.
package contracttest
