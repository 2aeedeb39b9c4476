package policy

// Reason says why a request was allowed or refused. Each has one stable code,
// which clients match, logs carry and counters are labelled with.
type Reason uint8

// The zero Reason refuses, so that a Decision nobody made allows nothing.
const (
	NoLicense Reason = iota
	Allowed
	LicenseExpired
	LicenseNotYetValid
	LicenseSuspended
	LicenseRevoked
	ScopeMissing
	RateLimited
	QuotaExceeded
)

var codes = [...]string{
	NoLicense:          "no_license",
	Allowed:            "allowed",
	LicenseExpired:     "license_expired",
	LicenseNotYetValid: "license_not_yet_valid",
	LicenseSuspended:   "license_suspended",
	LicenseRevoked:     "license_revoked",
	ScopeMissing:       "scope_missing",
	RateLimited:        "rate_limit_exceeded",
	QuotaExceeded:      "insufficient_quota",
}

// String is the reason's stable code.
func (r Reason) String() string {
	if int(r) < len(codes) {
		return codes[r]
	}
	return "unknown_reason"
}
