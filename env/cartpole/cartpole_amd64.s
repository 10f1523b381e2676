#include "textflag.h"

// The constants at BX, a number of eight bytes each.
#define FORCE 0
#define FORCE2 8
#define POLEMASSLENGTH 16
#define TOTALMASS 24
#define GRAVITY 32
#define MASSPOLE 40
#define FOURTHIRDS 48
#define HALFLENGTH 56
#define TAU 64
#define XTHRESHOLD 72
#define THETATHRESHOLD 80
#define ONE 88
#define HALF 96
#define SIXTH 104
#define SIXTHLOW 112
#define P0 120
#define Q0 168

#define K(at, y) VBROADCASTSD at(BX), y

// y = K(at) + z·y, a step of Horner's scheme; z in Y4.
#define HORNER(at, y) VMULPD Y4, y, y; K(at, Y15); VADDPD y, Y15, y

// func pushAVX2(constants *[28]float64, carts *pose, actions *int32, obs *float32, terminated *bool, groups int)
//
// Four carts at a time; each line is a line of push or sinCos in cartpole.go.
TEXT ·pushAVX2(SB), NOSPLIT, $0-48
	MOVQ constants+0(FP), BX
	MOVQ carts+8(FP), SI
	MOVQ actions+16(FP), DX
	MOVQ obs+24(FP), DI
	MOVQ terminated+32(FP), R8
	MOVQ groups+40(FP), CX

	// Y14: all bits but the sign.
	VPCMPEQQ Y14, Y14, Y14
	VPSRLQ   $1, Y14, Y14

loop:
	// Four carts, a row each, become Y0 x, Y1 xDot, Y2 theta, Y3 thetaDot.
	VMOVUPD    (SI), Y4
	VMOVUPD    32(SI), Y5
	VMOVUPD    64(SI), Y6
	VMOVUPD    96(SI), Y7
	VUNPCKLPD  Y5, Y4, Y8
	VUNPCKHPD  Y5, Y4, Y9
	VUNPCKLPD  Y7, Y6, Y10
	VUNPCKHPD  Y7, Y6, Y11
	VPERM2F128 $0x20, Y10, Y8, Y0
	VPERM2F128 $0x20, Y11, Y9, Y1
	VPERM2F128 $0x31, Y10, Y8, Y2
	VPERM2F128 $0x31, Y11, Y9, Y3

	// z, zLow in Y4, Y5
	VMULPD      Y2, Y2, Y4
	VMOVAPD     Y4, Y5
	VFMSUB231PD Y2, Y2, Y5 // theta·theta - z

	// p in Y6
	K(P0, Y15)
	VDIVPD Y15, Y4, Y6
	K(P0+8, Y15)
	VSUBPD Y6, Y15, Y6
	HORNER(P0+16, Y6)
	HORNER(P0+24, Y6)
	HORNER(P0+32, Y6)
	HORNER(P0+40, Y6)

	// t, tLow in Y7, Y8
	K(SIXTH, Y15)
	VMULPD      Y15, Y4, Y7
	VMOVAPD     Y7, Y8
	VFMSUB231PD Y15, Y4, Y8 // z·sixth - t
	VMULPD      Y15, Y5, Y10 // zLow·sixth
	K(SIXTHLOW, Y15)
	VMULPD      Y15, Y4, Y9
	VADDPD      Y9, Y8, Y8
	VADDPD      Y10, Y8, Y8
	VMULPD      Y4, Y4, Y9 // z·z, to the end of cos
	VMULPD      Y6, Y9, Y10
	VADDPD      Y10, Y8, Y8

	// u, uLow in Y6, Y7
	VMULPD      Y7, Y2, Y6
	VMOVAPD     Y6, Y10
	VFMSUB231PD Y7, Y2, Y10 // theta·t - u
	VMULPD      Y8, Y2, Y8
	VADDPD      Y8, Y10, Y7

	// sin in Y10
	VADDPD Y6, Y2, Y8 // s
	VSUBPD Y2, Y8, Y10
	VSUBPD Y10, Y6, Y10
	VADDPD Y7, Y10, Y10
	VADDPD Y10, Y8, Y10

	// q in Y6
	K(Q0, Y15)
	VDIVPD Y15, Y4, Y6
	K(Q0+8, Y15)
	VADDPD Y6, Y15, Y6
	HORNER(Q0+16, Y6)
	HORNER(Q0+24, Y6)
	HORNER(Q0+32, Y6)
	HORNER(Q0+40, Y6)
	HORNER(Q0+48, Y6)

	// cos in Y11
	K(HALF, Y15)
	VMULPD Y15, Y4, Y4 // z/2
	VMULPD Y15, Y5, Y5 // zLow/2
	K(ONE, Y15)
	VSUBPD Y4, Y15, Y7 // c
	VSUBPD Y7, Y15, Y8
	VSUBPD Y4, Y8, Y8
	VSUBPD Y5, Y8, Y8
	VMULPD Y6, Y9, Y9
	VADDPD Y9, Y8, Y8
	VADDPD Y8, Y7, Y11

	// force in Y4: 20·action - 10
	VCVTDQ2PD (DX), Y4
	K(FORCE2, Y15)
	VMULPD    Y15, Y4, Y4
	K(FORCE, Y15)
	VSUBPD    Y15, Y4, Y4

	// temp in Y5
	VMULPD Y3, Y3, Y5
	K(POLEMASSLENGTH, Y12)
	VMULPD Y5, Y12, Y5
	VMULPD Y10, Y5, Y5
	VADDPD Y5, Y4, Y5
	K(TOTALMASS, Y13)
	VDIVPD Y13, Y5, Y5

	// thetaAcc in Y6
	K(GRAVITY, Y15)
	VMULPD Y10, Y15, Y6
	VMULPD Y5, Y11, Y7
	VSUBPD Y7, Y6, Y6
	VMULPD Y11, Y11, Y7
	K(MASSPOLE, Y15)
	VMULPD Y7, Y15, Y7
	VDIVPD Y13, Y7, Y7
	K(FOURTHIRDS, Y15)
	VSUBPD Y7, Y15, Y7
	K(HALFLENGTH, Y15)
	VMULPD Y7, Y15, Y7
	VDIVPD Y7, Y6, Y6

	// xAcc in Y7
	VMULPD Y6, Y12, Y7
	VMULPD Y11, Y7, Y7
	VDIVPD Y13, Y7, Y7
	VSUBPD Y7, Y5, Y7

	// Euler
	K(TAU, Y15)
	VMULPD Y1, Y15, Y8
	VADDPD Y8, Y0, Y0
	VMULPD Y7, Y15, Y8
	VADDPD Y8, Y1, Y1
	VMULPD Y3, Y15, Y8
	VADDPD Y8, Y2, Y2
	VMULPD Y6, Y15, Y8
	VADDPD Y8, Y3, Y3

	// terminated: a bit each, then a byte
	VANDPD    Y14, Y0, Y8
	K(XTHRESHOLD, Y15)
	VCMPPD    $0x1E, Y15, Y8, Y8 // greater, false for NaN
	VANDPD    Y14, Y2, Y9
	K(THETATHRESHOLD, Y15)
	VCMPPD    $0x1E, Y15, Y9, Y9
	VORPD     Y9, Y8, Y8
	VMOVMSKPD Y8, AX
	IMULL     $0x00204081, AX
	ANDL      $0x01010101, AX
	MOVL      AX, (R8)

	// Back to a row each.
	VUNPCKLPD  Y1, Y0, Y4
	VUNPCKHPD  Y1, Y0, Y5
	VUNPCKLPD  Y3, Y2, Y6
	VUNPCKHPD  Y3, Y2, Y7
	VPERM2F128 $0x20, Y6, Y4, Y0
	VPERM2F128 $0x20, Y7, Y5, Y1
	VPERM2F128 $0x31, Y6, Y4, Y2
	VPERM2F128 $0x31, Y7, Y5, Y3
	VMOVUPD    Y0, (SI)
	VMOVUPD    Y1, 32(SI)
	VMOVUPD    Y2, 64(SI)
	VMOVUPD    Y3, 96(SI)
	VCVTPD2PSY Y0, X0
	VCVTPD2PSY Y1, X1
	VCVTPD2PSY Y2, X2
	VCVTPD2PSY Y3, X3
	VMOVUPS    X0, (DI)
	VMOVUPS    X1, 16(DI)
	VMOVUPS    X2, 32(DI)
	VMOVUPS    X3, 48(DI)

	ADDQ $128, SI
	ADDQ $16, DX
	ADDQ $64, DI
	ADDQ $4, R8
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET
